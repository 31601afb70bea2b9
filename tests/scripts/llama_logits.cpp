// The logits that llama.cpp computes, for our tests to compare with.
//
//   llama_logits MODEL.gguf ID ID …      prints the logits at the last position, one a line
//   llama_logits MODEL.gguf --argmax ID ID …   prints the most likely next token at every position
//   llama_logits MODEL.gguf --tokens 0|1 <text  prints the ids of standard input (1: with special ones added)
//
// Caches in F32 and no flash attention, so that what differs from us is only the products.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "llama.h"

static int tokens(llama_model * model, bool special) {
    std::string text;
    char buffer[1 << 16];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, stdin)) > 0;) text.append(buffer, n);
    std::vector<llama_token> ids(text.size() + 16);
    const int n = llama_tokenize(llama_model_get_vocab(model), text.data(), text.size(), ids.data(), ids.size(), special, true);
    for (int i = 0; i < n; i++) printf("%d\n", ids[i]);
    return n < 0;
}

int main(int argc, char ** argv) {
    if (argc < 3) return 2;
    llama_log_set([](ggml_log_level level, const char * text, void *) {
        if (level >= GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
    }, nullptr);
    llama_backend_init();
    const bool only_vocabulary = strcmp(argv[2], "--tokens") == 0;
    const bool argmax = strcmp(argv[2], "--argmax") == 0;
    auto model_params = llama_model_default_params();
    model_params.vocab_only = only_vocabulary;
    llama_model * model = llama_model_load_from_file(argv[1], model_params);
    if (!model) return 1;
    if (only_vocabulary) return tokens(model, argc > 3 && atoi(argv[3]));

    std::vector<llama_token> ids;
    for (int i = argmax ? 3 : 2; i < argc; i++) ids.push_back(atoi(argv[i]));
    auto params = llama_context_default_params();
    params.n_ctx = params.n_batch = params.n_ubatch = ids.size() < 64 ? 64 : ids.size();
    params.n_threads = params.n_threads_batch = 2;
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    llama_context * context = llama_init_from_model(model, params);
    if (!context) return 1;
    llama_batch batch = llama_batch_init(ids.size(), 0, 1);
    for (size_t i = 0; i < ids.size(); i++) {
        batch.token[i] = ids[i];
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = argmax || i + 1 == ids.size();
    }
    batch.n_tokens = ids.size();
    if (llama_decode(context, batch) != 0) return 1;
    const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (size_t i = argmax ? 0 : ids.size() - 1; i < ids.size(); i++) {
        const float * logits = llama_get_logits_ith(context, i);
        if (argmax) {
            int best = 0;
            for (int v = 1; v < n_vocab; v++) if (logits[v] > logits[best]) best = v;
            printf("%d\n", best);
        } else {
            for (int v = 0; v < n_vocab; v++) printf("%.9g\n", logits[v]);
        }
    }
    return 0;
}
