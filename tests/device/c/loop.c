/* The loop of book/rerun.md, with a camera, a model and a radio that are made up; every third exchange is lost. */
#include "page.h"

#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned images, kept, sent, cycles, lost;
static uint8_t image[1];
static uint32_t state = 2463534242u;

float draw(void)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return (float)(state >> 8) * 0x1p-24f;
}

float small_model(const uint8_t *seen)
{
    assert(seen == image);
    return draw();
}

void radio_keep(const uint8_t *seen)
{
    assert(seen == image);
    kept++;
}

bool radio_exchange(bool *correct, unsigned n)
{
    unsigned i;
    assert(n > 0 && n <= HIL_BATCH && kept <= 4);
    sent += kept;
    kept = 0;
    if (++cycles % 3 == 0) {
        lost++;
        return false;
    }
    for (i = 0; i < n; i++)
        correct[i] = true; /* so that nothing need be offloaded, after a while */
    return true;
}

const uint8_t *camera_image(void)
{
    if (++images <= 5000)
        return image;
    printf("%u %u %u %d\n", sent, cycles, lost, sent < images / 5);
    exit(0);
}

void run(void);

int main(void)
{
    run();
}
