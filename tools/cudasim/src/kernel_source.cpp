// From preprocessed CUDA to C++: shared variables become references into the block's shared memory, kernels are found
// and listed, launch bounds are taken note of. Line numbers stay as they were.
#include <algorithm>
#include <cctype>
#include <set>

#include "module.h"

namespace cudasim {
namespace {

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

std::string trim(const std::string& text) {
    const auto first = text.find_first_not_of(" \t\n\r");
    if (first == std::string::npos) return "";
    return text.substr(first, text.find_last_not_of(" \t\n\r") - first + 1);
}

class Rewriter {
public:
    explicit Rewriter(const std::string& in) : in_(in) { out_.reserve(in.size() + in.size() / 8); }

    KernelSource run(const std::vector<std::string>& name_expressions) {
        while (at_ < in_.size()) step();
        append_table(name_expressions);
        return {std::move(out_), kernel_names_};
    }

private:
    struct Kernel {
        std::string name, bounds, cluster;
        bool templated;
    };

    void copy(size_t n) {
        out_.append(in_, at_, n);
        at_ += n;
    }

    size_t skip_quoted(size_t from) const {
        const char quote = in_[from];
        size_t i = from + 1;
        while (i < in_.size() && in_[i] != quote) i += in_[i] == '\\' ? 2 : 1;
        return i + 1;
    }

    size_t skip_parentheses(size_t open) const {
        int depth = 0;
        for (size_t i = open; i < in_.size(); ++i) {
            if (in_[i] == '"' || in_[i] == '\'') {
                i = skip_quoted(i) - 1;
            } else if (in_[i] == '(') {
                depth++;
            } else if (in_[i] == ')' && --depth == 0) {
                return i + 1;
            }
        }
        return in_.size();
    }

    size_t next_visible(size_t i) const {
        while (i < in_.size() && std::isspace(static_cast<unsigned char>(in_[i]))) ++i;
        return i;
    }

    void step() {
        const char c = in_[at_];
        if (c == '#' && (at_ == 0 || in_[at_ - 1] == '\n')) {  // a line marker
            const auto end = in_.find('\n', at_);
            copy((end == std::string::npos ? in_.size() : end + 1) - at_);
        } else if (c == '"') {
            copy(skip_quoted(at_) - at_);
        } else if (c == '\'' && (at_ == 0 || !is_word(in_[at_ - 1]))) {
            copy(skip_quoted(at_) - at_);
        } else if (is_word(c)) {
            word();
        } else {
            punctuation(c);
            copy(1);
        }
    }

    void punctuation(char c) {
        if (c == '{') {
            scopes_.push_back(pending_namespace_);
            pending_namespace_.clear();
            templated_ = false;
        } else if (c == '}') {
            if (!scopes_.empty()) scopes_.pop_back();
            templated_ = false;
        } else if (c == ';') {
            templated_ = false;
            pending_namespace_.clear();
        }
    }

    void word() {
        size_t end = at_;
        while (end < in_.size() && is_word(in_[end])) ++end;
        const auto text = in_.substr(at_, end - at_);
        if (text == "R" && end < in_.size() && in_[end] == '"') {  // a raw string
            const auto open = in_.find('(', end);
            const auto close = in_.find(")" + in_.substr(end + 1, open - end - 1) + "\"", open);
            copy(close + (open - end) + 1 - at_);
        } else if (text == "template") {
            templated_ = true;
            copy(end - at_);
        } else if (text == "namespace") {
            copy(end - at_);
            auto name_at = next_visible(at_);
            auto name_end = name_at;
            while (name_end < in_.size() && (is_word(in_[name_end]) || in_[name_end] == ':')) ++name_end;
            pending_namespace_ = in_.substr(name_at, name_end - name_at);
        } else if (text == "__global__") {
            at_ = end;
            kernel();
        } else if (text == "__launch_bounds__" || text == "__cluster_dims__") {
            blank(skip_parentheses(next_visible(end)));
        } else if (text == "__shared__") {
            at_ = end;
            shared();
        } else {
            copy(end - at_);
        }
    }

    // Leaves out the text up to end, but not its line ends.
    void blank(size_t end) {
        for (; at_ < end; ++at_)
            if (in_[at_] == '\n') out_ += '\n';
    }

    // Reads on to the kernel's name without changing anything; the words on the way are handled as they come.
    void kernel() {
        Kernel k{"", "", "", templated_};
        size_t i = at_;
        std::string last;
        while (i < in_.size()) {
            i = next_visible(i);
            if (in_[i] == '(') {
                const auto end = skip_parentheses(i);
                const auto inside = in_.substr(i + 1, end - i - 2);
                if (last == "__launch_bounds__")
                    k.bounds = inside;
                else if (last == "__cluster_dims__")
                    k.cluster = inside;
                else if (last != "__attribute__" && last != "alignas")
                    break;
                i = end;
            } else if (is_word(in_[i])) {
                size_t end = i;
                while (end < in_.size() && is_word(in_[end])) ++end;
                last = in_.substr(i, end - i);
                i = end;
            } else {
                ++i;
            }
        }
        k.name = last;
        std::string scope;
        for (const auto& s : scopes_)
            if (!s.empty()) scope += s + "::";
        k.name = scope + k.name;
        if (seen_.insert(k.name).second) kernels_.push_back(k);
    }

    static std::string without_attributes(std::string text) {
        for (const std::string attribute : {"__attribute__", "alignas"}) {
            size_t at;
            while ((at = text.find(attribute)) != std::string::npos) {
                auto i = text.find('(', at);
                int depth = 0;
                for (; i < text.size(); ++i) {
                    if (text[i] == '(') depth++;
                    if (text[i] == ')' && --depth == 0) break;
                }
                text.erase(at, i + 1 - at);
            }
        }
        return text;
    }

    std::string take_last_word() {
        size_t end = out_.size();
        while (end > 0 && (out_[end - 1] == ' ' || out_[end - 1] == '\t')) --end;
        size_t first = end;
        while (first > 0 && is_word(out_[first - 1])) --first;
        const auto last = out_.substr(first, end - first);
        if (last != "extern" && last != "static" && last != "volatile") return "";
        out_.erase(first);
        return last;
    }

    void shared() {
        bool external = false;
        std::string prefix;
        for (std::string before; !(before = take_last_word()).empty();) {
            external = external || before == "extern";
            if (before == "volatile") prefix = "volatile ";
        }
        const auto stop = in_.find(';', at_);
        const auto text = in_.substr(at_, stop - at_);
        const auto lines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
        std::vector<std::string> declarators;
        size_t start = 0;
        int depth = 0, angle = 0;
        bool have_prefix = false;
        for (size_t i = 0; i <= text.size(); ++i) {
            const char c = i < text.size() ? text[i] : ',';
            if (c == '<' && depth == 0) angle++;
            if (c == '>' && depth == 0) angle--;
            if ((c == '[' || (c == ',' && angle <= 0)) && depth == 0 && !have_prefix) {
                auto end = i;
                while (end > 0 && std::isspace(static_cast<unsigned char>(text[end - 1]))) --end;
                auto first = end;
                while (first > 0 && is_word(text[first - 1])) --first;
                prefix += text.substr(0, first);
                start = first;
                have_prefix = true;
            }
            if (c == '(' || c == '[') depth++;
            if (c == ')' || c == ']') depth--;
            if (c == ',' && depth == 0 && angle <= 0) {
                declarators.push_back(trim(text.substr(start, i - start)));
                start = i + 1;
            }
        }
        for (const auto& declarator : declarators) {
            size_t n = 0;
            while (n < declarator.size() && is_word(declarator[n])) ++n;
            const auto name = declarator.substr(0, n);
            const auto id = std::to_string(count_++);
            if (external) {
                out_ += " typedef " + one_line(without_attributes(prefix)) + " cudasim_dynamic_" + id +
                        "; cudasim_dynamic_" + id + "* const " + name + " = static_cast<cudasim_dynamic_" + id +
                        "*>(::cudasim_dynamic_shared());";
            } else {
                out_ += " struct cudasim_shared_" + id + " { " + one_line(prefix) + " " + one_line(declarator) +
                        "; }; auto& " + name + " = ::cudasim_device::shared<cudasim_shared_" + id + ">(\"" + name +
                        "\")->" + name + ";";
            }
        }
        out_.append(lines, '\n');
        at_ = stop + 1;
    }

    static std::string one_line(std::string text) {
        for (auto& c : text)
            if (c == '\n') c = ' ';
        return text;
    }

    static std::string entry(const std::string& name, const std::string& kernel, const Kernel* k) {
        std::string bounds = "1024", cluster = "0,0,0";
        if (k && !k->templated) {
            if (!k->bounds.empty()) bounds = "::cudasim_device::first_of(" + one_line(k->bounds) + ")";
            if (!k->cluster.empty()) {
                cluster = one_line(k->cluster);
                for (auto n = std::count(cluster.begin(), cluster.end(), ','); n < 2; ++n) cluster += ",1";
            }
        }
        return "::cudasim_device::entry<(&" + kernel + ")>(\"" + name + "\", " + bounds + ", " + cluster + "),\n";
    }

    void append_table(const std::vector<std::string>& name_expressions) {
        out_ +=
            "\n# 1 \"cudasim_kernel_table\"\nextern \"C\" __attribute__((visibility(\"default\"), used)) "
            "const ::cudasim_device::KernelEntry cudasim_kernels[] = {\n";
        for (const auto& k : kernels_) {
            if (k.templated) continue;
            out_ += entry(k.name, "::" + k.name, &k);
            kernel_names_.push_back(k.name);
        }
        for (const auto& expression : name_expressions) {
            const auto text = trim(expression);
            const auto kernel = trim(text.empty() || text[0] != '&' ? text : text.substr(1));
            const auto plain = kernel.substr(0, kernel.find('<'));
            const Kernel* known = nullptr;
            for (const auto& k : kernels_)
                if (k.name == plain) known = &k;
            out_ += entry(lowered_name(expression), kernel, known);
            kernel_names_.push_back(lowered_name(expression));
        }
        out_ += "{nullptr, nullptr, 0, nullptr, 0, {0, 0, 0}}};\n";
    }

    const std::string& in_;
    std::string out_, pending_namespace_;
    std::vector<std::string> scopes_, kernel_names_;
    std::vector<Kernel> kernels_;
    std::set<std::string> seen_;
    size_t at_ = 0;
    unsigned count_ = 0;
    bool templated_ = false;
};

}  // namespace

std::string lowered_name(const std::string& expression) {
    // Real compilers return a mangled symbol; any text that names exactly this instance serves.
    std::string name = "cudasim:";
    for (const char c : trim(expression))
        if (!std::isspace(static_cast<unsigned char>(c)) && !(c == '&' && name.size() == 8)) name += c;
    return name;
}

KernelSource rewrite_kernels(const std::string& preprocessed, const std::vector<std::string>& name_expressions) {
    return Rewriter(preprocessed).run(name_expressions);
}

}  // namespace cudasim
