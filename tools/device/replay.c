/* Both learners over the samples of samples.h and over drawn ones: what they decide, and by how many instructions. */
#include "board.h"
#include "hil.h"
#include "samples.h" /* SAMPLES, confidence[], correct[]: made by bench_device.py */

#define ETA 0.1f
#define BETA 0.5f
#define PAINT 0x5a5a5a5au

static hil_learner fixed;
static hil_adaptive adaptive;

typedef struct {
    uint64_t sum;
    uint32_t most;
} counted;

static uint32_t state;

static uint32_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static float uniform(void)
{
    return (float)(draw() >> 8) * 0x1p-24f;
}

static void print_number(const char *name, uint64_t value)
{
    char digits[21];
    int i = 20;
    digits[i] = 0;
    do {
        digits[--i] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    board_print(name);
    board_print(" ");
    board_print(digits + i);
    board_print("\n");
}

static void count(counted *c, uint32_t from, uint32_t to)
{
    const uint32_t ticks = (from - to) & 0xffffff;
    c->sum += ticks;
    if (ticks > c->most)
        c->most = ticks;
}

#ifdef __arm__
extern uint32_t bss_end, stack_top;

/* Fill what the stack has not used yet, and see later how much of it was. */
static void paint(void)
{
    uint32_t *const here = __builtin_frame_address(0);
    uint32_t *word;
    for (word = &bss_end; word < here - 16; word++)
        *word = PAINT;
}

static uint32_t painted(void)
{
    const uint32_t *word = &bss_end;
    while (*word == PAINT)
        word++;
    return (uint32_t)((const char *)&stack_top - (const char *)word);
}

/* Ticks of 100 instructions, and of reading the clock itself. */
__attribute__((noinline)) static void calibrate(void)
{
    uint32_t from = board_ticks(), to = board_ticks();
    print_number("empty", (from - to) & 0xffffff);
    from = board_ticks();
    __asm__ volatile(".rept 100\n nop\n .endr");
    to = board_ticks();
    print_number("nops", (from - to) & 0xffffff);
}
#else
static void paint(void) {}
static uint32_t painted(void) { return 0; }
static void calibrate(void) {}
#endif

static void play(const char *name, int drawn, int adapts)
{
    counted deciding = {0, 0}, learning = {0, 0};
    const hil_learner *const learner = adapts ? &adaptive.learner : &fixed;
    uint32_t from, offloads = 0, t;
    unsigned nibble = 0;
    char digit[2] = {0, 0};
    state = 2463534242u;
    (void)hil_init(&fixed, BETA, ETA);
    (void)hil_adaptive_init(&adaptive, BETA);
    paint();
    board_print("run ");
    board_print(name);
    board_print("\ndecided ");
    for (t = 0; t < SAMPLES; t++) {
        const float p = drawn ? uniform() : confidence[t], u = uniform();
        const bool right = drawn ? uniform() < p : correct[t] != 0;
        bool offload;
        from = board_ticks();
        offload = hil_decide(learner, p, u);
        count(&deciding, from, board_ticks());
        from = board_ticks();
        if (adapts)
            hil_adaptive_learn(&adaptive, p, right);
        else
            hil_learn(&fixed, p, right);
        count(&learning, from, board_ticks());
        offloads += offload;
        nibble = nibble << 1 | offload;
        if (t % 4 == 3) {
            digit[0] = "0123456789abcdef"[nibble & 15];
            board_print(digit);
        }
    }
    board_print("\n");
    print_number("offloads", offloads);
    print_number("decide", deciding.sum);
    print_number("decide_most", deciding.most);
    print_number("learn", learning.sum);
    print_number("learn_most", learning.most);
    print_number("stack", painted());
}

int main(void)
{
    board_start();
    calibrate();
    play("fixed trace", 0, 0);
    play("adaptive trace", 0, 1);
    play("fixed drawn", 1, 0);
    play("adaptive drawn", 1, 1);
    return 0;
}
