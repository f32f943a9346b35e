// The commands of the program, one file each. Every add_ function registers its subcommand, with
// options and help text, and what runs when the user has asked for it.
//
// A command throws Error for a failure it can explain (exit code 1) and CLI::ValidationError for
// wrong usage that only shows once it runs (exit code 2). Standard output is for data only.
#pragma once

namespace CLI {
class App;
}

namespace anser {

void add_run(CLI::App& app);
void add_chat(CLI::App& app);
void add_logits(CLI::App& app);
void add_eval(CLI::App& app);
void add_bench(CLI::App& app);
void add_info(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_quantize(CLI::App& app);
void add_convert(CLI::App& app);
void add_serve(CLI::App& app);
void add_state(CLI::App& app);

}  // namespace anser
