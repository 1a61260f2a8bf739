/* What a part of the header adds to a program: bench_device.py compares this with PART 0, which has none of it. */
#include "board.h"
#include "hil.h"

volatile float confidence, uniform;
volatile bool correct, offload;

#if PART == 1
static hil_learner learner;
#elif PART > 1
static hil_adaptive learner;
#endif
#if PART == 3
static hil_batch batch;
static bool answers[HIL_BATCH];
static uint8_t bytes[HIL_SAVED];
#endif

int main(void)
{
    board_start();
    offload = uniform < confidence && correct; /* PART 0 has floats, too */
#if PART == 1
    (void)hil_init(&learner, confidence, uniform);
    offload = hil_decide(&learner, confidence, uniform);
    hil_learn(&learner, confidence, correct);
#elif PART == 2
    (void)hil_adaptive_init(&learner, confidence);
    offload = hil_decide(&learner.learner, confidence, uniform);
    hil_adaptive_learn(&learner, confidence, correct);
#elif PART == 3
    (void)hil_adaptive_init(&learner, confidence);
    (void)hil_batch_init(&batch, 4, HIL_BATCH);
    offload = hil_batch_decide(&batch, &learner.learner, confidence, uniform) == HIL_SEND;
    offload = hil_batch_offloads(&batch, 0);
    hil_batch_hear_adaptive(&batch, &learner, answers);
    hil_batch_forget(&batch);
    hil_adaptive_save(&learner, bytes);
    offload = hil_adaptive_load(&learner, bytes, sizeof bytes) == HIL_LOADED;
#endif
    return 0;
}
