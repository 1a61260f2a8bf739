/* HIL-F on a microcontroller: the learner of `hi_lib.HILF(beta, learning_rate, levels=256)`, sample by sample.
 *
 * C99, to be included and no more: no allocation, nothing global, <math.h> alone beside the headers of the language. It
 * learns from feedback on all samples, and needs a double of 64 bits.
 *
 *     hil_learner learner;                                  2 KB; any of its functions takes it by its address
 *     hil_init(&learner, 0.7f, 0.1f);                       cost of an offload, learning rate
 *     if (hil_decide(&learner, p, u)) send(image);          p: confidence of the S-ML; u: uniform in [0, 1)
 *     hil_learn(&learner, p, correct);                      once it is known whether the S-ML was right
 *
 * A batch with one threshold is decided with one u. `hil_adaptive` (3 KB) finds its learning rate itself, as AdaHedge
 * does: decide with `hil_decide(&adaptive.learner, p, u)`, learn with `hil_adaptive_learn`. `hil_batch` sends once m
 * offloads are pending.
 *
 * What is no number. A confidence that is NaN, like one of at most 0, is always offloaded; one of at least 1, infinity
 * included, never is; none of them teaches anything, since all thresholds lose the same there. A u that is NaN or at
 * least 1 counts as the largest below 1, and one below 0 as 0. No argument of these functions leads to undefined
 * behaviour, but for a pointer that does not point where it should, and a learner that was never begun. (Compile without
 * -ffast-math, which takes NaN for impossible.)
 *
 * How it differs from the Python class, and how little. A step at level k is β where the S-ML was right and β − 1 where
 * it was not. Steps are kept as whole multiples of 2^-24, summed without rounding, so that no error grows with the
 * number of samples; β is rounded to such a multiple once (`hil_beta` tells it). The float η is taken as it is. Python
 * with this β and this η offloads sample t where u_t >= 1 − q_t, with the q_t of its doubles. This header does the same
 * with a q'_t, and |q'_t − q_t| < 2^-26: the two decide alike wherever u_t is at least HIL_DISTANCE = 2^-26 away from
 * 1 − q_t. For, a cell that has lost D more than the best one weighs w = 2^-y, y = D η log2(e), and
 *   - y is rounded to nearest at 2^-25 or finer, and its fraction cut off at 2^-32: w is wrong by a factor within
 *     1 ± ln 2 (2^-26 + 2^-32) = 1 ± 1.05e-8;
 *   - the polynomial for 2^-y, with its products cut off at 2^-32, is wrong by at most 3.2e-9 of it (measured);
 *     so each weight is wrong by at most ε = 1.37e-8 of it, the odds q/(1 − q) by 2 ε, and q by 2 ε q (1 − q) <= ε/2;
 *   - η log2(e) is cut off at 32 bits, so wrong by a share ρ < 2^-31. By d q/d ln η, which is at most the mean of η D
 *     under the weights, and that at most ln 256 (the entropy of the weights is that mean plus a logarithm that is not
 *     negative), q is wrong by at most ln(256) ρ = 2.6e-9;
 *   - weights are cut off at 2^-55 (together 2^-47), and u at 2^-32 (2.4e-10).
 * Together less than 1.0e-8, and 2^-26 is 1.49e-8: what is left covers the rounding of Python's doubles, which is far
 * smaller. Of u in steps of 2^-24, at most one lies that close to an edge; on average, one decision in 2^25 does.
 * With the adaptive rate, η is a float made of a sum of mixability gaps, and Python's a double. By the bound above, q is
 * wrong by at most another ln(256) times the share by which the two differ. That share stayed below 1.2e-7 on all logs
 * that were tried, and the tests hold it below 1.6e-7: then |q'_t − q_t| < HIL_ADAPTIVE_DISTANCE = 2^-20. This is
 * measured, not proved: where η > 2 L/Δ at one sample of one and at the next of the other, they differ for longer.
 */
#ifndef HIL_H
#define HIL_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* How finely confidences are told apart: they are rounded down to multiples of 1/HIL_LEVELS. */
#ifndef HIL_LEVELS
#define HIL_LEVELS 256
#endif
#if HIL_LEVELS < 2 || HIL_LEVELS > 256
#error "HIL_LEVELS must be from 2 to 256"
#endif
/* The most samples of a cycle of `hil_batch`, which takes so many bytes, and an eighth of it. */
#ifndef HIL_BATCH
#define HIL_BATCH 200
#endif
#if HIL_BATCH < 1 || HIL_BATCH > 255
#error "HIL_BATCH must be from 1 to 255"
#endif

#define HIL_VERSION 1
#define HIL_DISTANCE 0x1p-26
#define HIL_ADAPTIVE_DISTANCE 0x1p-20
#define HIL_LEAST_RATE 0x1p-29f
#define HIL_MOST_RATE 0x1p29f
#define HIL_SAVED ((size_t)(28 + 8 * (HIL_LEVELS - 1))) /* bytes of a learner as saved */

/* One learning rate. The step of level 0 is left out: all thresholds take it. */
typedef struct {
    int64_t step[HIL_LEVELS - 1]; /* losses of offloading less those of keeping, in 2^-24, at levels 1, 2, … */
    uint32_t beta;                /* in 2^-24 */
    float eta;
} hil_learner;

/* AdaHedge's rate, η = ln(HIL_LEVELS)/Δ, which falls by at least a half whenever it falls (T22). */
typedef struct {
    hil_learner learner;
    double gap;                                              /* Δ */
    uint8_t right[HIL_LEVELS - 1], wrong[HIL_LEVELS - 1];    /* heard, and not yet learned, at levels 1, 2, … */
} hil_adaptive;

/* A cycle: samples that are decided from the same weights, and heard of together. */
typedef struct {
    uint8_t offloads, samples; /* it ends with so many */
    uint8_t pending, decided;  /* it holds so many by now */
    uint8_t level[HIL_BATCH];
    uint8_t offload[(HIL_BATCH + 7) / 8];
} hil_batch;

typedef enum { HIL_KEEP, HIL_HOLD, HIL_SEND, HIL_WAIT } hil_says;
typedef enum { HIL_LOADED, HIL_DAMAGED, HIL_OTHER_VERSION, HIL_OTHER_LEVELS, HIL_OTHER_LEARNER } hil_loading;

typedef char hil_internal_a_double_has_64_bits[sizeof(double) == 8 && sizeof(float) == 4 ? 1 : -1];
typedef char hil_internal_a_learner_has_2_KB[sizeof(hil_learner) <= 2048 && sizeof(hil_adaptive) <= 3072 ? 1 : -1];

/* ---- inside ---- */

#define HIL_INTERNAL_ONE ((uint32_t)1 << 24)                /* a loss of 1 */
#define HIL_INTERNAL_MOST ((int64_t)1 << 55)                /* of a step: 256 of them fit */
#define HIL_INTERNAL_FIRST_GAP 1e-6
#define HIL_INTERNAL_MILD 10.0                              /* nats by which a batch moves weights; 2^-55 e^10 is small */

typedef struct {
    uint32_t mantissa; /* of η log2(e), from 2^31 on */
    int shift;         /* how far a loss is moved right, so that its product with that has 57 bits after the point */
    uint64_t limit;    /* a loss from here on leaves less than 2^-63 of a weight */
} hil_internal_rate;

typedef struct {
    uint64_t below, above; /* weight of the cells below and above a confidence; the best cell has 2^55 */
} hil_internal_share;

/* The upper half of a product, for which a Cortex-M0 has no instruction, and compilers a slow function. */
static inline uint32_t hil_internal_high(uint32_t a, uint32_t b)
{
#ifdef __ARM_ARCH_6M__
    const uint32_t a1 = a >> 16, a0 = a & 0xffff, b1 = b >> 16, b0 = b & 0xffff;
    const uint32_t first = a1 * b0 + (a0 * b0 >> 16), second = a0 * b1 + (first & 0xffff);
    return a1 * b1 + (first >> 16) + (second >> 16);
#else
    return (uint32_t)(((uint64_t)a * b) >> 32);
#endif
}

static inline hil_internal_rate hil_internal_rate_of(float eta)
{
    hil_internal_rate rate;
    int exponent;
    const uint32_t fraction = (uint32_t)(frexpf(eta, &exponent) * 0x1p24f);
    const uint64_t product = (uint64_t)fraction * 3098164009u; /* log2(e), in 2^-31 */
    const int cut = product >> 55 ? 24 : 23;
    rate.mantissa = (uint32_t)(product >> cut);
    rate.shift = 22 - cut - exponent;
    if (rate.shift > 0)
        rate.limit = (uint64_t)UINT32_MAX << rate.shift;
    else
        rate.limit = ((uint64_t)1 << 32) >> -rate.shift;
    return rate;
}

/* 2^-f for f in 2^-32, in 2^-32: its Taylor series, with factors that make the largest error least. */
static inline uint64_t hil_internal_power(uint32_t f)
{
    static const uint32_t factor[6] = {468252u, 5475004u, 41142265u, 238330988u, 1031755804u, 2977043973u};
    uint32_t value = factor[0];
    int i;
    for (i = 1; i < 6; i++)
        value = factor[i] - hil_internal_high(f, value);
    return ((uint64_t)1 << 32) - hil_internal_high(f, value);
}

/* Weight of a cell that has lost so much more than the best. */
static inline uint64_t hil_internal_weight(uint64_t loss, const hil_internal_rate *rate)
{
    uint32_t scaled, high, low;
    if (loss >= rate->limit)
        return 0;
    if (rate->shift > 0)
        scaled = (uint32_t)((loss + ((uint64_t)1 << (rate->shift - 1))) >> rate->shift);
    else
        scaled = (uint32_t)(loss << -rate->shift);
    high = hil_internal_high(scaled, rate->mantissa);
    low = scaled * rate->mantissa;
    if (high >> 25 > 55)
        return 0;
    return (hil_internal_power(high << 7 | low >> 25) << 23) >> (high >> 25);
}

/* A number in (0, 1) in 2^-32, cut off. */
static inline uint32_t hil_internal_fraction(float x)
{
    return (uint32_t)(x * 0x1p32f);
}

/* Place of a confidence on the grid. What teaches nothing, NaN included, is at one of its ends. */
static inline unsigned hil_internal_level(float p)
{
    if (!(p > 0.0f))
        return 0;
    if (p >= 1.0f)
        return HIL_LEVELS;
    return (unsigned)(((uint64_t)hil_internal_fraction(p) * HIL_LEVELS) >> 32);
}

static inline int64_t hil_internal_step(const hil_learner *l, bool correct)
{
    return (int64_t)l->beta - (correct ? 0 : (int64_t)HIL_INTERNAL_ONE);
}

static inline void hil_internal_add(hil_learner *l, unsigned level, int64_t step)
{
    int64_t sum;
    if (level == 0 || level >= HIL_LEVELS)
        return;
    sum = l->step[level - 1] + step;
    if (sum >= -HIL_INTERNAL_MOST && sum <= HIL_INTERNAL_MOST) /* after 2^31 mistakes, or more, a level is full */
        l->step[level - 1] = sum;
}

static inline int64_t hil_internal_least(const hil_learner *l)
{
    int64_t loss = 0, least = 0;
    unsigned k;
    for (k = 0; k < HIL_LEVELS - 1; k++) {
        loss += l->step[k];
        if (loss < least)
            least = loss;
    }
    return least;
}

static inline hil_internal_share hil_internal_share_at(const hil_learner *l, unsigned level)
{
    hil_internal_share share = {0, 0};
    const hil_internal_rate rate = hil_internal_rate_of(l->eta);
    const int64_t least = hil_internal_least(l);
    int64_t loss = 0;
    uint64_t weight = hil_internal_weight((uint64_t)0 - (uint64_t)least, &rate);
    unsigned cell;
    for (cell = 0; cell < HIL_LEVELS; cell++) {
        if (cell > 0 && l->step[cell - 1] != 0) {
            loss += l->step[cell - 1];
            weight = hil_internal_weight((uint64_t)loss - (uint64_t)least, &rate);
        }
        if (cell < level)
            share.below += weight;
        else
            share.above += weight;
    }
    return share;
}

static inline bool hil_internal_offloads(const hil_learner *l, unsigned level, float u)
{
    hil_internal_share share;
    uint64_t total;
    uint32_t drawn = u < 1.0f ? (u > 0.0f ? hil_internal_fraction(u) : 0) : UINT32_MAX;
    if (level == 0 || level >= HIL_LEVELS)
        return level == 0;
    share = hil_internal_share_at(l, level);
    total = share.below + share.above;
    return share.below <= drawn * (total >> 32) + ((drawn * (total & UINT32_MAX)) >> 32);
}

/* ---- one learning rate ---- */

/* Begin, with the cost β of an offload, in [0, 1], and a learning rate η from 2^-29 to 2^29; false: refused. */
static inline bool hil_init(hil_learner *l, float beta, float eta)
{
    if (!(beta >= 0.0f && beta <= 1.0f && eta >= HIL_LEAST_RATE && eta <= HIL_MOST_RATE))
        return false;
    memset(l, 0, sizeof *l);
    l->beta = ((uint32_t)(beta * 0x1p25f) + 1) >> 1;
    l->eta = eta;
    return true;
}

/* β as it is counted: the multiple of 2^-24 next to what was given. */
static inline float hil_beta(const hil_learner *l)
{
    return (float)l->beta * 0x1p-24f;
}

/* Whether to offload a sample of confidence p, by a u that was drawn evenly from [0, 1). */
static inline bool hil_decide(const hil_learner *l, float p, float u)
{
    return hil_internal_offloads(l, hil_internal_level(p), u);
}

/* Learn whether the S-ML was right about a sample of confidence p. */
static inline void hil_learn(hil_learner *l, float p, bool correct)
{
    hil_internal_add(l, hil_internal_level(p), hil_internal_step(l, correct));
}

/* Probability that a sample of confidence p would be offloaded now, as a float: rounded by up to 2^-23 of it. */
static inline float hil_offload_probability(const hil_learner *l, float p)
{
    const unsigned level = hil_internal_level(p);
    hil_internal_share share;
    if (level == 0 || level >= HIL_LEVELS)
        return level == 0 ? 1.0f : 0.0f;
    share = hil_internal_share_at(l, level);
    return (float)share.above / (float)(share.below + share.above);
}

/* ---- the adaptive rate ---- */

/* Begin with the cost β of an offload, in [0, 1]; false: refused. */
static inline bool hil_adaptive_init(hil_adaptive *a, float beta)
{
    if (!hil_init(&a->learner, beta, (float)(log((double)HIL_LEVELS) / HIL_INTERNAL_FIRST_GAP)))
        return false;
    a->gap = HIL_INTERNAL_FIRST_GAP;
    memset(a->right, 0, sizeof a->right);
    memset(a->wrong, 0, sizeof a->wrong);
    return true;
}

static inline bool hil_internal_hear(hil_adaptive *a, unsigned level, bool correct)
{
    uint8_t *count;
    if (level == 0 || level >= HIL_LEVELS)
        return true;
    count = correct ? &a->right[level - 1] : &a->wrong[level - 1];
    if (*count == UINT8_MAX)
        return false;
    ++*count;
    return true;
}

/* What was heard of a level and is not yet learned, as a step, in 2^-24. */
static inline int64_t hil_internal_heard(const hil_adaptive *a, unsigned k)
{
    if ((a->right[k] | a->wrong[k]) == 0)
        return 0;
    return a->right[k] * hil_internal_step(&a->learner, true) + a->wrong[k] * hil_internal_step(&a->learner, false);
}

/* What was heard, under the weights before it: its mean loss, and by how much it lets the whole weight grow. */
typedef struct {
    double total;  /* weight */
    double mean;   /* loss */
    double growth; /* as a share of the whole weight */
    bool mild;     /* false: a cell moves too far to tell that */
} hil_internal_effect;

static inline hil_internal_effect hil_internal_effect_of(const hil_adaptive *a)
{
    const hil_learner *l = &a->learner;
    const hil_internal_rate rate = hil_internal_rate_of(l->eta);
    const int64_t least = hil_internal_least(l);
    hil_internal_effect effect = {0.0, 0.0, 0.0, true};
    int64_t loss = 0, heard = 0;
    uint64_t weight = hil_internal_weight((uint64_t)0 - (uint64_t)least, &rate), run = 0;
    double step;
    unsigned cell;
    for (cell = 0; cell < HIL_LEVELS; cell++) {
        run += weight; /* of all neighbours that lose the same */
        if (cell < HIL_LEVELS - 1 && l->step[cell] != 0) {
            loss += l->step[cell];
            weight = hil_internal_weight((uint64_t)loss - (uint64_t)least, &rate);
        }
        if (cell < HIL_LEVELS - 1 && hil_internal_heard(a, cell) == 0)
            continue;
        step = (double)heard * 0x1p-24;
        effect.total += (double)run;
        effect.mean += (double)run * step;
        if (fabs((double)l->eta * step) >= HIL_INTERNAL_MILD)
            effect.mild = false;
        else if (heard != 0)
            effect.growth += (double)run * expm1(-(double)l->eta * step);
        if (cell < HIL_LEVELS - 1)
            heard += hil_internal_heard(a, cell);
        run = 0;
    }
    effect.mean /= effect.total;
    effect.growth /= effect.total;
    return effect;
}

/* Keep what was heard of a sample, to be learned with others as one batch; false: more than 255 alike, learn first. */
static inline bool hil_adaptive_hear(hil_adaptive *a, float p, bool correct)
{
    return hil_internal_hear(a, hil_internal_level(p), correct);
}

/* Learn all that was heard as one batch, measured against the weights before it, and let the rate follow. */
static inline void hil_adaptive_update(hil_adaptive *a)
{
    hil_learner *l = &a->learner;
    const hil_internal_effect effect = hil_internal_effect_of(a);
    const int64_t before = hil_internal_least(l);
    const double eta = (double)l->eta;
    double gap, target;
    unsigned k;
    for (k = 0; k < HIL_LEVELS - 1; k++)
        hil_internal_add(l, k + 1, hil_internal_heard(a, k));
    memset(a->right, 0, sizeof a->right);
    memset(a->wrong, 0, sizeof a->wrong);
    if (!effect.mild) { /* by logarithms, both weights being counted from their best cells */
        const double now = (double)hil_internal_share_at(l, 0).above;
        gap = effect.mean - (double)(hil_internal_least(l) - before) * 0x1p-24 + log(now / effect.total) / eta;
    } else {
        gap = effect.mean + log1p(effect.growth) / eta;
    }
    a->gap += gap > 0.0 ? gap : 0.0;
    target = log((double)HIL_LEVELS) / a->gap;
    if (eta > 2.0 * target && target >= (double)HIL_LEAST_RATE)
        l->eta = (float)target;
}

/* Learn whether the S-ML was right about a sample of confidence p, and whatever was heard before. */
static inline void hil_adaptive_learn(hil_adaptive *a, float p, bool correct)
{
    if (!hil_adaptive_hear(a, p, correct)) {
        hil_adaptive_update(a);
        (void)hil_adaptive_hear(a, p, correct);
    }
    hil_adaptive_update(a);
}

/* ---- send once m offloads are pending ---- */

/* Begin: a cycle ends with so many offloads, or with so many samples, at most HIL_BATCH; false: refused. */
static inline bool hil_batch_init(hil_batch *b, unsigned offloads, unsigned samples)
{
    if (offloads == 0 || samples == 0 || samples > HIL_BATCH || offloads > samples)
        return false;
    memset(b, 0, sizeof *b);
    b->offloads = (uint8_t)offloads;
    b->samples = (uint8_t)samples;
    return true;
}

static inline bool hil_internal_closed(const hil_batch *b)
{
    return b->pending >= b->offloads || b->decided >= b->samples || b->decided >= HIL_BATCH;
}

/* Whether sample i of the cycle, counted from 0, is one to send. */
static inline bool hil_batch_offloads(const hil_batch *b, unsigned i)
{
    return i < b->decided && i < HIL_BATCH && (b->offload[i / 8] >> (i % 8) & 1) != 0;
}

/* Decide on the next sample, with a u of its own.
 *
 * HIL_KEEP: its local answer stands; HIL_HOLD: it is to be offloaded, later; HIL_SEND: the cycle ends with this sample,
 * send all those of which `hil_batch_offloads` says so, now; HIL_WAIT: the cycle had ended before, nothing was decided.
 */
static inline hil_says hil_batch_decide(hil_batch *b, const hil_learner *l, float p, float u)
{
    const unsigned level = hil_internal_level(p), i = b->decided;
    if (hil_internal_closed(b))
        return HIL_WAIT;
    b->level[i] = (uint8_t)(level < HIL_LEVELS ? level : 0); /* neither end of the grid teaches anything */
    b->decided = (uint8_t)(i + 1);
    if (hil_internal_offloads(l, level, u)) {
        b->offload[i / 8] = (uint8_t)(b->offload[i / 8] | 1u << i % 8);
        b->pending = (uint8_t)(b->pending + 1);
    }
    if (hil_internal_closed(b))
        return HIL_SEND;
    return hil_batch_offloads(b, i) ? HIL_HOLD : HIL_KEEP;
}

/* Give up a cycle whose answers are lost; nothing is learned, and the next one begins. */
static inline void hil_batch_forget(hil_batch *b)
{
    b->pending = b->decided = 0;
    memset(b->offload, 0, sizeof b->offload);
}

/* Learn whether the S-ML was right on each of the `decided` samples of the cycle, ended or not; the next one begins. */
static inline void hil_batch_hear(hil_batch *b, hil_learner *l, const bool *correct)
{
    unsigned i;
    for (i = 0; i < b->decided && i < HIL_BATCH; i++)
        hil_internal_add(l, b->level[i], hil_internal_step(l, correct[i]));
    hil_batch_forget(b);
}

/* The same with the adaptive rate: learned as one batch, with what else was heard. */
static inline void hil_batch_hear_adaptive(hil_batch *b, hil_adaptive *a, const bool *correct)
{
    unsigned i;
    for (i = 0; i < b->decided && i < HIL_BATCH; i++) {
        if (!hil_internal_hear(a, b->level[i], correct[i])) {
            hil_adaptive_update(a);
            (void)hil_internal_hear(a, b->level[i], correct[i]);
        }
    }
    hil_adaptive_update(a);
    hil_batch_forget(b);
}

/* ---- across a restart ----
 *
 * HIL_SAVED bytes, the same on every machine, numbers with their low bytes first:
 * "HIL", version, kind, 0, levels (2), β (4), η (4), Δ (8), steps (8 each), CRC-32 of all that (4).
 */

static inline void hil_internal_put(uint8_t *bytes, uint64_t value, unsigned size)
{
    unsigned i;
    for (i = 0; i < size; i++)
        bytes[i] = (uint8_t)(value >> 8 * i & 0xff);
}

static inline uint64_t hil_internal_get(const uint8_t *bytes, unsigned size)
{
    uint64_t value = 0;
    unsigned i;
    for (i = 0; i < size; i++)
        value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

static inline uint32_t hil_internal_checksum(const uint8_t *bytes, size_t size)
{
    uint32_t sum = UINT32_MAX;
    size_t i;
    int bit;
    for (i = 0; i < size; i++) {
        sum ^= bytes[i];
        for (bit = 0; bit < 8; bit++)
            sum = sum & 1 ? sum >> 1 ^ 0xedb88320u : sum >> 1;
    }
    return ~sum;
}

static inline void hil_internal_save(const hil_learner *l, uint8_t kind, double gap, uint8_t *bytes)
{
    static const uint8_t name[4] = {'H', 'I', 'L', HIL_VERSION};
    uint32_t eta;
    uint64_t sum;
    unsigned k;
    memcpy(&eta, &l->eta, sizeof eta);
    memcpy(&sum, &gap, sizeof sum);
    memcpy(bytes, name, sizeof name);
    hil_internal_put(bytes + 4, kind, 2);
    hil_internal_put(bytes + 6, HIL_LEVELS, 2);
    hil_internal_put(bytes + 8, l->beta, 4);
    hil_internal_put(bytes + 12, eta, 4);
    hil_internal_put(bytes + 16, sum, 8);
    for (k = 0; k < HIL_LEVELS - 1; k++)
        hil_internal_put(bytes + 24 + 8 * k, (uint64_t)l->step[k], 8);
    hil_internal_put(bytes + HIL_SAVED - 4, hil_internal_checksum(bytes, HIL_SAVED - 4), 4);
}

/* Whether these bytes are of a learner of this kind; its β, η and Δ. */
static inline hil_loading hil_internal_read(
    const uint8_t *bytes, size_t size, uint8_t kind, uint32_t *beta, float *eta, double *gap)
{
    uint32_t rate;
    uint64_t sum;
    if (size < 8 || bytes[0] != 'H' || bytes[1] != 'I' || bytes[2] != 'L')
        return HIL_DAMAGED;
    if (bytes[3] != HIL_VERSION)
        return HIL_OTHER_VERSION;
    if (hil_internal_get(bytes + 6, 2) != HIL_LEVELS)
        return HIL_OTHER_LEVELS;
    if (size != HIL_SAVED || hil_internal_get(bytes + size - 4, 4) != hil_internal_checksum(bytes, size - 4))
        return HIL_DAMAGED;
    if (hil_internal_get(bytes + 4, 2) != kind)
        return HIL_OTHER_LEARNER;
    *beta = (uint32_t)hil_internal_get(bytes + 8, 4);
    rate = (uint32_t)hil_internal_get(bytes + 12, 4);
    sum = hil_internal_get(bytes + 16, 8);
    memcpy(eta, &rate, sizeof rate);
    memcpy(gap, &sum, sizeof sum);
    if (*beta > HIL_INTERNAL_ONE || !(*eta >= HIL_LEAST_RATE && *eta <= HIL_MOST_RATE))
        return HIL_DAMAGED;
    if (kind != 0 && !(*gap >= HIL_INTERNAL_FIRST_GAP && *gap <= 1e300))
        return HIL_DAMAGED;
    return HIL_LOADED;
}

/* Take over the steps, or leave all as it is where one is none. */
static inline hil_loading hil_internal_load(hil_learner *l, const uint8_t *bytes, uint32_t beta, float eta)
{
    const uint64_t most = (uint64_t)HIL_INTERNAL_MOST;
    unsigned k;
    for (k = 0; k < HIL_LEVELS - 1; k++)
        if (hil_internal_get(bytes + 24 + 8 * k, 8) + most > 2 * most)
            return HIL_DAMAGED;
    for (k = 0; k < HIL_LEVELS - 1; k++)
        l->step[k] = (int64_t)(hil_internal_get(bytes + 24 + 8 * k, 8) + most) - HIL_INTERNAL_MOST;
    l->beta = beta;
    l->eta = eta;
    return HIL_LOADED;
}

/* Write HIL_SAVED bytes. */
static inline void hil_save(const hil_learner *l, uint8_t *bytes)
{
    hil_internal_save(l, 0, 0.0, bytes);
}

/* Go on from what was saved; what is refused leaves the learner as it was. */
static inline hil_loading hil_load(hil_learner *l, const uint8_t *bytes, size_t size)
{
    uint32_t beta = 0;
    float eta = 0.0f;
    double gap = 0.0;
    const hil_loading found = hil_internal_read(bytes, size, 0, &beta, &eta, &gap);
    return found == HIL_LOADED ? hil_internal_load(l, bytes, beta, eta) : found;
}

/* Write HIL_SAVED bytes; what was heard and not yet learned is not among them. */
static inline void hil_adaptive_save(const hil_adaptive *a, uint8_t *bytes)
{
    hil_internal_save(&a->learner, 1, a->gap, bytes);
}

/* Go on from what was saved, with nothing heard; what is refused leaves the learner as it was. */
static inline hil_loading hil_adaptive_load(hil_adaptive *a, const uint8_t *bytes, size_t size)
{
    uint32_t beta = 0;
    float eta = 0.0f;
    double gap = 0.0;
    hil_loading found = hil_internal_read(bytes, size, 1, &beta, &eta, &gap);
    if (found == HIL_LOADED)
        found = hil_internal_load(&a->learner, bytes, beta, eta);
    if (found != HIL_LOADED)
        return found;
    a->gap = gap;
    memset(a->right, 0, sizeof a->right);
    memset(a->wrong, 0, sizeof a->wrong);
    return HIL_LOADED;
}

#endif
