/* What tests call from Python: the header's functions over whole arrays. */
#include "hil.h"

size_t size_of_learner(void) { return sizeof(hil_learner); }
size_t size_of_adaptive(void) { return sizeof(hil_adaptive); }
size_t size_of_batch(void) { return sizeof(hil_batch); }
size_t size_saved(void) { return HIL_SAVED; }
bool begin(hil_learner *l, float beta, float eta) { return hil_init(l, beta, eta); }
bool begin_adaptive(hil_adaptive *a, float beta) { return hil_adaptive_init(a, beta); }
bool begin_batch(hil_batch *b, unsigned offloads, unsigned samples) { return hil_batch_init(b, offloads, samples); }
bool decide(const hil_learner *l, float p, float u) { return hil_decide(l, p, u); }
void learn(hil_learner *l, float p, bool correct) { hil_learn(l, p, correct); }
void learn_adaptive(hil_adaptive *a, float p, bool correct) { hil_adaptive_learn(a, p, correct); }
bool keep(hil_adaptive *a, float p, bool correct) { return hil_adaptive_hear(a, p, correct); }
void update(hil_adaptive *a) { hil_adaptive_update(a); }
float beta_of(const hil_learner *l) { return hil_beta(l); }
float rate_of(const hil_learner *l) { return l->eta; }
double gap_of(const hil_adaptive *a) { return a->gap; }
float probability(const hil_learner *l, float p) { return hil_offload_probability(l, p); }
int says(hil_batch *b, const hil_learner *l, float p, float u) { return (int)hil_batch_decide(b, l, p, u); }
bool offloads(const hil_batch *b, unsigned i) { return hil_batch_offloads(b, i); }
void hear(hil_batch *b, hil_learner *l, const bool *correct) { hil_batch_hear(b, l, correct); }
void hear_adaptive(hil_batch *b, hil_adaptive *a, const bool *correct) { hil_batch_hear_adaptive(b, a, correct); }
void forget(hil_batch *b) { hil_batch_forget(b); }
void save(const hil_learner *l, uint8_t *bytes) { hil_save(l, bytes); }
int load(hil_learner *l, const uint8_t *bytes, size_t size) { return (int)hil_load(l, bytes, size); }
void save_adaptive(const hil_adaptive *a, uint8_t *bytes) { hil_adaptive_save(a, bytes); }
int load_adaptive(hil_adaptive *a, const uint8_t *bytes, size_t size) { return (int)hil_adaptive_load(a, bytes, size); }

static double share(const hil_learner *l, float p)
{
    const hil_internal_share found = hil_internal_share_at(l, hil_internal_level(p));
    return (double)found.above / ((double)found.below + (double)found.above);
}

/* Decide and learn n samples one by one; q in full, not as a float, and the rate of each decision. */
void play(hil_learner *l, hil_adaptive *a, size_t n, const float *p, const float *u, const bool *correct, bool *offload,
          double *q, float *eta)
{
    const hil_learner *const deciding = a ? &a->learner : l;
    size_t t;
    for (t = 0; t < n; t++) {
        q[t] = share(deciding, p[t]);
        eta[t] = deciding->eta;
        offload[t] = hil_decide(deciding, p[t], u[t]);
        if (a)
            hil_adaptive_learn(a, p[t], correct[t]);
        else
            hil_learn(l, p[t], correct[t]);
    }
}

/* 2^-f of all f from 0 on, in steps of `step`, in 2^-32. */
void powers(uint32_t step, size_t n, uint64_t *found)
{
    size_t i;
    for (i = 0; i < n; i++)
        found[i] = hil_internal_power((uint32_t)i * step);
}

double distance(void) { return HIL_DISTANCE; }
double adaptive_distance(void) { return HIL_ADAPTIVE_DISTANCE; }
