"""The ONNX frontend: a model file in, a module with `graph.func @main` out.

    module = import_model("model.onnx", {"x": ["batch", 3, 224, 224]})

What a model declares for its outputs and for values between its nodes is ignored: types follow from the inputs
and the operations.  Nodes that cannot be imported are reported all together.
"""

from headrace.compiler.frontends.onnx.model import import_model

__all__ = ["import_model"]
