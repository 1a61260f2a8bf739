/* All functions with all kinds of numbers, for the sanitizers; what must hold whatever comes is asserted. */
#include "hil.h"

#undef NDEBUG
#include <assert.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>

static uint32_t state = 2463534242u;

static uint32_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static float odd(void)
{
    static const float given[] = {0.0f, -0.0f, 1.0f, 0.5f, -1.0f, 2.0f, FLT_MIN, -FLT_MIN, FLT_MAX, -FLT_MAX,
                                  FLT_EPSILON, 0x1p-149f, -0x1p-149f, 0x1.fffffep-1f, 0x1.000002p0f, 0x1p-8f,
                                  0x1.fffffep-9f, 0x1p-29f, 0x1p29f, INFINITY, -INFINITY, NAN};
    const uint32_t bits = draw();
    float found;
    if (bits % 4 == 0)
        return given[draw() % (sizeof given / sizeof *given)];
    if (bits % 4 == 1)
        return (float)(draw() >> 8) * 0x1p-24f;
    if (bits % 4 == 2)
        return (float)(draw() % 512) / 256.0f;
    memcpy(&found, &state, sizeof found); /* any bits at all */
    return found;
}

static void sane(const hil_learner *l, float p)
{
    const float q = hil_offload_probability(l, p);
    assert(q >= 0.0f && q <= 1.0f);
    assert(p > 0.0f || (q == 1.0f && hil_decide(l, p, odd())));
    assert(!(p >= 1.0f) || (q == 0.0f && !hil_decide(l, p, odd())));
}

static void one(hil_learner *l, hil_adaptive *a, hil_batch *b)
{
    static uint8_t bytes[HIL_SAVED + 8];
    bool correct[HIL_BATCH];
    const float p = odd(), u = odd();
    unsigned i;
    sane(l, p);
    sane(&a->learner, p);
    (void)hil_decide(l, p, u);
    hil_learn(l, p, draw() % 2);
    switch (draw() % 8) {
    case 0:
        for (i = 0; i < HIL_BATCH; i++)
            correct[i] = draw() % 2;
        if (draw() % 2)
            hil_batch_hear_adaptive(b, a, correct);
        else
            hil_batch_hear(b, l, correct);
        break;
    case 1:
        (void)hil_adaptive_hear(a, p, draw() % 2);
        break;
    case 2:
        hil_adaptive_update(a);
        break;
    case 3:
        hil_adaptive_save(a, bytes);
        assert(hil_adaptive_load(a, bytes, HIL_SAVED) == HIL_LOADED);
        bytes[draw() % HIL_SAVED] ^= (uint8_t)(1u << draw() % 8);
        assert(hil_adaptive_load(a, bytes, HIL_SAVED) != HIL_LOADED);
        break;
    case 4:
        for (i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)draw();
        assert(hil_load(l, bytes, draw() % (sizeof bytes + 1)) == HIL_DAMAGED);
        break;
    default:
        hil_adaptive_learn(a, p, draw() % 2);
    }
    assert(a->gap >= 1e-6 && a->gap < 1e12 && a->learner.eta >= HIL_LEAST_RATE);
    if (hil_batch_decide(b, draw() % 2 ? l : &a->learner, p, u) == HIL_WAIT && draw() % 4 == 0)
        hil_batch_forget(b);
    (void)hil_batch_offloads(b, draw() % 300);
}

/* Steps as far as they go: in both directions, and to the end of what a level holds. */
static void extremes(hil_learner *l)
{
    unsigned i;
    for (i = 0; i < HIL_LEVELS - 1; i++)
        l->step[i] = draw() % 3 == 0 ? -HIL_INTERNAL_MOST : draw() % 2 ? HIL_INTERNAL_MOST : (int64_t)draw();
    for (i = 0; i < 600; i++) {
        const float p = odd();
        sane(l, p);
        hil_learn(l, p, draw() % 2);
    }
    for (i = 0; i < HIL_LEVELS - 1; i++)
        assert(llabs(l->step[i]) <= HIL_INTERNAL_MOST);
}

int main(int count, char **arguments)
{
    static hil_learner l;
    static hil_adaptive a;
    static hil_batch b;
    const long rounds = count > 1 ? atol(arguments[1]) : 20;
    long round, i;
    for (round = 0; round < rounds; round++) {
        while (!hil_init(&l, odd(), odd())) {
        }
        while (!hil_adaptive_init(&a, odd())) {
        }
        while (!hil_batch_init(&b, draw() % 300, draw() % 300)) {
        }
        for (i = 0; i < 500; i++)
            one(&l, &a, &b);
        extremes(&l);
        extremes(&a.learner);
        hil_adaptive_update(&a);
    }
    puts("all held");
    return 0;
}
