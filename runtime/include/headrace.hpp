/* headrace.hpp: headrace.h for C++17: the same nouns and verbs, closed by destructors, failing by exceptions.
**
**     headrace::Model model("m.hrm");
**     headrace::Session session(model, 2);
**     std::vector<std::int64_t> dims{1, 784};
**     std::vector<hr_value> inputs{headrace::tensor(pixels, dims)};
**     std::vector<hr_value> outputs = session.run(inputs);       // lent by the session until its next run
**
** Header only; nothing here does more than one call of headrace.h. */
#ifndef HEADRACE_HPP
#define HEADRACE_HPP

#include "headrace.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace headrace {

/* A status that is not HR_OK, with its message. */
class Error : public std::runtime_error {
  public:
    explicit Error(const hr_error &error) : std::runtime_error(error.message), status_(error.status) {}
    hr_status status() const noexcept { return status_; }

  private:
    hr_status status_;
};

inline void check(hr_status status, const hr_error &error) {
    if (status != HR_OK)
        throw Error(error);
}

template <typename T> constexpr hr_dtype dtype_of() {
    if constexpr (std::is_same_v<T, bool>)
        return HR_BOOL;
    else if constexpr (std::is_floating_point_v<T>) {
        static_assert(sizeof(T) == 4 || sizeof(T) == 8, "float or double");
        return sizeof(T) == 8 ? HR_F64 : HR_F32;
    } else {
        static_assert(std::is_integral_v<T>, "a type that models take");
        constexpr bool is_signed = std::is_signed_v<T>;
        return sizeof(T) == 8   ? (is_signed ? HR_I64 : HR_U64)
               : sizeof(T) == 4 ? (is_signed ? HR_I32 : HR_U32)
               : sizeof(T) == 2 ? (is_signed ? HR_I16 : HR_U16)
                                : (is_signed ? HR_I8 : HR_U8);
    }
}

/* A value over the caller's memory; `dims` and `data` must live as long as it is used. */
template <typename T> hr_value tensor(T *data, const std::vector<std::int64_t> &dims) {
    hr_value value{};
    value.kind = HR_TENSOR;
    value.dtype = dtype_of<std::remove_const_t<T>>();
    value.rank = static_cast<std::uint32_t>(dims.size());
    value.dims = dims.data();
    value.data = const_cast<std::remove_const_t<T> *>(data);
    value.bytes = sizeof(T);
    for (std::int64_t dim : dims)
        value.bytes *= static_cast<std::uint64_t>(dim);
    return value;
}

class Model {
  public:
    explicit Model(const std::string &path, const hr_model_options *options = nullptr) {
        hr_error error;
        hr_model *opened = nullptr;
        check(hr_model_open(path.c_str(), options, &opened, &error), error);
        model_.reset(opened);
    }
    std::uint32_t inputs() const { return hr_model_inputs(get()); }
    std::uint32_t outputs() const { return hr_model_outputs(get()); }
    const hr_port *input(std::uint32_t index) const { return hr_model_input(get(), index); }
    const hr_port *output(std::uint32_t index) const { return hr_model_output(get(), index); }
    std::string target() const { return hr_model_target(get()); }
    void verify() const {
        hr_error error;
        check(hr_model_verify(get(), &error), error);
    }
    hr_model *get() const { return model_.get(); }

  private:
    struct Close {
        void operator()(hr_model *model) const { hr_model_close(model); }
    };
    std::unique_ptr<hr_model, Close> model_;
};

/* Keeps its model open. */
class Session {
  public:
    explicit Session(const Model &model, std::uint32_t threads = 0) : outputs_(model.outputs()) {
        hr_session_options options{};
        options.size = sizeof options;
        options.threads = threads;
        hr_error error;
        hr_session *opened = nullptr;
        check(hr_session_open(model.get(), &options, &opened, &error), error);
        session_.reset(opened);
    }
    std::uint32_t threads() const { return hr_session_threads(get()); }
    std::uint64_t memory_needed(const std::vector<hr_value> &inputs) const {
        hr_error error;
        std::uint64_t bytes = 0;
        check(hr_memory_needed(get(), inputs.data(), &bytes, &error), error);
        return bytes;
    }
    /* Into memory that the session lends until its next run. */
    std::vector<hr_value> run(const std::vector<hr_value> &inputs) {
        std::vector<hr_value> outputs(outputs_);
        run(inputs, outputs);
        return outputs;
    }
    /* Into the caller's memory; allocates nothing. */
    void run(const std::vector<hr_value> &inputs, std::vector<hr_value> &outputs) {
        hr_error error;
        check(hr_run(get(), inputs.data(), outputs.data(), &error), error);
    }
    hr_session *get() const { return session_.get(); }

  private:
    struct Close {
        void operator()(hr_session *session) const { hr_session_close(session); }
    };
    std::unique_ptr<hr_session, Close> session_;
    std::size_t outputs_;
};

} // namespace headrace
#endif
