/* Models of semihmm, asked and streamed without Python. docs/deployment/runtime.md says what a model file holds.
 *
 * A function returns SEMIHMM_OK or says what went wrong; then semihmm_last_error() has the words, of the calling thread.
 * Nothing is thrown, and nothing is written to where a call fails, unless it says so. A model never changes: any number of
 * threads may ask it. A stream is one thread's at a time. Numbers lie row by row; log-weights are in nats, -inf is allowed.
 * Structures begin with their own size, so that later versions can add to them: fill in `size` before a call.
 */
#ifndef SEMIHMM_H
#define SEMIHMM_H

#include <stddef.h>
#include <stdint.h>

#define SEMIHMM_VERSION 1        /* of this interface */
#define SEMIHMM_FORMAT_VERSION 1 /* of the files it reads */

#if defined(SEMIHMM_STATIC)
#define SEMIHMM_API
#elif defined(__GNUC__)
#define SEMIHMM_API __attribute__((visibility("default")))
#else
#define SEMIHMM_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum semihmm_status {
    SEMIHMM_OK = 0,
    SEMIHMM_BAD_ARGUMENT = 1, /* a null pointer, a negative count, an option that is none */
    SEMIHMM_NO_FILE = 2,      /* a file that cannot be read */
    SEMIHMM_BAD_FILE = 3,     /* a file that is no model, or a damaged one */
    SEMIHMM_BAD_VERSION = 4,  /* a file of another version of the format */
    SEMIHMM_BAD_DATA = 5,     /* observations that the emission cannot take, such as infinite ones */
    SEMIHMM_NO_MEMORY = 6,
    SEMIHMM_INTERNAL = 7
} semihmm_status;

typedef struct semihmm_model semihmm_model;
typedef struct semihmm_stream semihmm_stream;

SEMIHMM_API int32_t semihmm_version(void);
/* The instruction set that was chosen when the library was loaded: "avx512", "avx2", "baseline". The environment variable
 * SEMIHMM_ISA chooses another one, as in Python. */
SEMIHMM_API const char* semihmm_isa(void);
/* What went wrong last in this thread; never null, valid until this thread's next call. */
SEMIHMM_API const char* semihmm_last_error(void);

/* ---- models */

SEMIHMM_API semihmm_status semihmm_model_open(const char* path, semihmm_model** model);
/* The same of a file in memory, which is copied. */
SEMIHMM_API semihmm_status semihmm_model_read(const void* data, size_t size, semihmm_model** model);
SEMIHMM_API void semihmm_model_close(semihmm_model* model);

typedef struct semihmm_info {
    size_t size;
    const char* kind;     /* "hmm", "hsmm", "ctc", "alignment" */
    const char* emission; /* "log_likelihoods", "gaussian", ... */
    int64_t inputs;       /* numbers in a frame of observations */
    int64_t states;       /* states of a path; of a CTC, the places: blank, token, blank, ... */
    int64_t columns;      /* numbers in a frame of log-likelihoods: the states, or what states share */
    int64_t max_duration; /* frames that a state of an HSMM lasts at most; 1 of the others */
} semihmm_info;

SEMIHMM_API semihmm_status semihmm_model_info(const semihmm_model* model, semihmm_info* info);
/* Which column of the log-likelihoods each state has (states): of a CTC, its token. */
SEMIHMM_API semihmm_status semihmm_model_columns(const semihmm_model* model, int64_t* columns);
/* The name of a state, if the file has names; null for none. It lives as long as the model. */
SEMIHMM_API const char* semihmm_model_name(const semihmm_model* model, int64_t state);

/* ---- questions about one whole sequence of frames (frames, inputs), at least one */

SEMIHMM_API semihmm_status semihmm_log_likelihoods(const semihmm_model* model, const float* x, int64_t frames, float* out /* (frames, columns) */);
SEMIHMM_API semihmm_status semihmm_log_prob(const semihmm_model* model, const float* x, int64_t frames, double* log_prob);
/* The posterior probability of each column at each frame (frames, columns). log_prob may be null. */
SEMIHMM_API semihmm_status semihmm_posteriors(const semihmm_model* model, const float* x, int64_t frames, float* posteriors, double* log_prob);
/* The best path: the state of each frame, and where a segment begins (may be null; of an HMM, every frame). Without a path states
 * are -1 and the score is -inf. score may be null. */
SEMIHMM_API semihmm_status semihmm_viterbi(const semihmm_model* model, const float* x, int64_t frames, int64_t* states, uint8_t* begins, double* score);

/* ---- streams */

typedef struct semihmm_stream_options {
    size_t size;
    int64_t lookahead; /* frames later that smoothed posteriors are told; 0 for none */
    int64_t max_delay; /* frames at most that wait for their state; 0: as many as it takes until all paths agree */
} semihmm_stream_options;

/* What frames have brought. Its arrays are the stream's, valid until the next call with it. */
typedef struct semihmm_update {
    size_t size;
    int64_t frames;               /* how many were pushed */
    const float* filtered;        /* (frames, states): log-posteriors of the state, given the frames up to it */
    const double* log_likelihood; /* (frames): of all frames up to each */
    const float* smoothed;        /* (frames, states): of the state `lookahead` frames before, NaN before the first; or null */
    int64_t committed;            /* states that are final from now on, from the frame `first` on */
    int64_t first;
    const int64_t* states;        /* (committed) */
    const uint8_t* forced;        /* (committed): 1 where it was not certain yet */
} semihmm_update;

/* What the end of a stream has brought, likewise. */
typedef struct semihmm_ending {
    size_t size;
    double log_likelihood;        /* of all frames: semihmm_log_prob */
    double score;                 /* of the best path that goes through the forced states */
    int64_t smoothed_frames;      /* of the latest frames, at most `lookahead` */
    const float* smoothed;        /* (smoothed_frames, states), given all frames; or null */
    int64_t committed, first;
    const int64_t* states;
} semihmm_ending;

/* options may be null. The model must outlive the stream. */
SEMIHMM_API semihmm_status semihmm_stream_open(const semihmm_model* model, const semihmm_stream_options* options, semihmm_stream** stream);
SEMIHMM_API void semihmm_stream_close(semihmm_stream* stream);
/* Any number of frames, also 0. Where it fails, the stream is as it was before. With a max_delay of at most 4096, and no more frames at
 * a time than in a push before, it allocates nothing. update may be null. */
SEMIHMM_API semihmm_status semihmm_stream_push(semihmm_stream* stream, const float* x, int64_t frames, semihmm_update* update);
/* Ends a stream of at least one frame; it may begin anew then. */
SEMIHMM_API semihmm_status semihmm_stream_finish(semihmm_stream* stream, semihmm_ending* ending);
/* Forgets all frames. */
SEMIHMM_API void semihmm_stream_restart(semihmm_stream* stream);

/* ---- what comes before frames: sound, and networks. A model file may have features, which are made of samples, and a network
 * (emission "network"), whose outputs are the log-likelihoods that the model is asked about. */

typedef struct semihmm_front semihmm_front;

typedef struct semihmm_front_options {
    size_t size;
    int32_t samples; /* 1: samples of sound come in, full scale = 1; 0: frames, for the network */
    int32_t whole;   /* 1: of a whole recording, which loses its own mean: all frames come at its end; 0: each as soon as it is known */
} semihmm_front_options;

typedef struct semihmm_front_info {
    size_t size;
    int64_t inputs;     /* numbers that come in at a time: 1 of samples */
    int64_t outputs;    /* numbers in a frame that goes out: the model's inputs */
    double sample_rate; /* that samples must have; 0 of frames */
    double frame_rate;  /* of the frames that go out; 0 if frames come in */
} semihmm_front_info;

/* The model must outlive it. */
SEMIHMM_API semihmm_status semihmm_front_open(const semihmm_model* model, const semihmm_front_options* options, semihmm_front** front);
SEMIHMM_API void semihmm_front_close(semihmm_front* front);
SEMIHMM_API semihmm_status semihmm_front_info_of(const semihmm_front* front, semihmm_front_info* info);
/* Takes (count, inputs) numbers, also 0, and gives the frames (frames, outputs) that they bring, valid until the next call. As many as
 * in the largest push before take no memory, unless `whole`. Where it fails, all is as it was before. */
SEMIHMM_API semihmm_status semihmm_front_push(semihmm_front* front, const float* x, int64_t count, const float** out, int64_t* frames);
/* The frames that the end brings; then it may begin anew. */
SEMIHMM_API semihmm_status semihmm_front_finish(semihmm_front* front, const float** out, int64_t* frames);
/* Forgets all that came in. */
SEMIHMM_API void semihmm_front_restart(semihmm_front* front);

#ifdef __cplusplus
}
#endif

#endif
