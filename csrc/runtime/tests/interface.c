/* The interface, from C: a model is loaded, asked and streamed, and what is wrong is refused with a status and words. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "semihmm.h"

static int failures = 0;

#define CHECK(holds)                                                                      \
    do {                                                                                  \
        if (!(holds)) {                                                                   \
            fprintf(stderr, "%s:%d: %s; %s\n", __FILE__, __LINE__, #holds, semihmm_last_error()); \
            failures++;                                                                   \
        }                                                                                 \
    } while (0)

enum { FRAMES = 40, STATES = 3, INPUTS = 2 };

int main(int count, char** words) {
    char path[4096];
    semihmm_model* model = NULL;
    semihmm_stream* stream = NULL;
    semihmm_info info;
    semihmm_stream_options options;
    semihmm_update update;
    semihmm_ending ending;
    float x[FRAMES * INPUTS], posteriors[FRAMES * STATES];
    int64_t states[FRAMES], streamed[FRAMES], t, told = 0;
    double log_prob = 0, again = 0, score = 0;

    if (count != 2) return fprintf(stderr, "interface: takes the folder of the corpus\n"), 2;
    snprintf(path, sizeof path, "%s/good-dense.safetensors", words[1]);
    for (t = 0; t < FRAMES * INPUTS; t++) x[t] = (float)sin(0.7 * (double)t);

    CHECK(semihmm_version() == SEMIHMM_VERSION);
    CHECK(strlen(semihmm_isa()) > 0);
    CHECK(semihmm_model_open("/no/such/file", &model) == SEMIHMM_NO_FILE && model == NULL);
    CHECK(strstr(semihmm_last_error(), "/no/such/file cannot be read") != NULL);
    CHECK(semihmm_model_open(NULL, &model) == SEMIHMM_BAD_ARGUMENT);
    CHECK(semihmm_model_read("what is this", 12, &model) == SEMIHMM_BAD_FILE && model == NULL);

    CHECK(semihmm_model_open(path, &model) == SEMIHMM_OK);
    if (model == NULL) return 1;
    info.size = 3;
    CHECK(semihmm_model_info(model, &info) == SEMIHMM_BAD_ARGUMENT);
    info.size = sizeof info;
    CHECK(semihmm_model_info(model, &info) == SEMIHMM_OK);
    CHECK(strcmp(info.kind, "hmm") == 0 && strcmp(info.emission, "gaussian") == 0);
    CHECK(info.states == STATES && info.columns == STATES && info.inputs == INPUTS && info.max_duration == 1);
    CHECK(strcmp(semihmm_model_name(model, 1), "b") == 0 && semihmm_model_name(model, STATES) == NULL);

    CHECK(semihmm_log_prob(model, x, FRAMES, &log_prob) == SEMIHMM_OK && isfinite(log_prob));
    CHECK(semihmm_posteriors(model, x, FRAMES, posteriors, &again) == SEMIHMM_OK);
    CHECK(fabs(again - log_prob) < 1e-4);
    for (t = 0; t < FRAMES; t++) CHECK(fabs(posteriors[3 * t] + posteriors[3 * t + 1] + posteriors[3 * t + 2] - 1) < 1e-4);
    CHECK(semihmm_viterbi(model, x, FRAMES, states, NULL, &score) == SEMIHMM_OK && score <= log_prob);
    CHECK(semihmm_log_prob(model, x, 0, &log_prob) == SEMIHMM_BAD_ARGUMENT);
    CHECK(semihmm_log_prob(model, NULL, FRAMES, &log_prob) == SEMIHMM_BAD_ARGUMENT);
    CHECK(semihmm_log_prob(model, x, INT64_MAX, &log_prob) == SEMIHMM_BAD_ARGUMENT);

    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.lookahead = -1;
    CHECK(semihmm_stream_open(model, &options, &stream) == SEMIHMM_BAD_ARGUMENT && stream == NULL);
    options.lookahead = 2;
    CHECK(semihmm_stream_open(model, &options, &stream) == SEMIHMM_OK);
    memset(&update, 0, sizeof update), memset(&ending, 0, sizeof ending);
    update.size = sizeof update, ending.size = sizeof ending;
    CHECK(semihmm_stream_finish(stream, &ending) == SEMIHMM_BAD_ARGUMENT);
    for (t = 0; t < FRAMES; t++) {
        const float wrong[INPUTS] = {INFINITY, 0};
        CHECK(semihmm_stream_push(stream, wrong, 1, &update) == SEMIHMM_BAD_DATA); /* and nothing happens */
        CHECK(semihmm_stream_push(stream, x + t * INPUTS, 1, &update) == SEMIHMM_OK && update.frames == 1);
        CHECK(update.first == told);
        memcpy(streamed + told, update.states, (size_t)update.committed * sizeof *streamed);
        told += update.committed;
    }
    CHECK(fabs(update.log_likelihood[0] - again) < 1e-4);
    CHECK(semihmm_stream_finish(stream, &ending) == SEMIHMM_OK);
    memcpy(streamed + told, ending.states, (size_t)ending.committed * sizeof *streamed);
    CHECK(told + ending.committed == FRAMES && memcmp(streamed, states, sizeof states) == 0);
    CHECK(fabs(ending.score - score) < 1e-4 && ending.smoothed_frames == 2);
    semihmm_stream_close(stream);
    semihmm_model_close(model);
    semihmm_stream_close(NULL), semihmm_model_close(NULL);
    return failures != 0;
}
