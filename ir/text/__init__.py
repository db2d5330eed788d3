"""The text form of the IR: a module to `.hir` text and back, without loss.

    print_op(operation)          text of an operation with everything inside it
    parse_module(text, path)     the module that a text describes
    save_hir(module, path)       writes PATH, and PATH.constants for arrays too big for the text
    load_hir(path)               reads both back

    module {source = "3f5a"} {
      graph.func @main(%x: f32[n]) {input_names = ["x"]} {
        %y = graph.relu %x : f32[n] loc("Relu_0")
        graph.return %y
      }
    }

There is one syntax for all operations, `grammar.lark`; what it means for an operation follows from the
operation's declaration.  A text without `module { }` around its functions is a module too.  Comments start
with `//`.  `headrace.ir.text.container` describes the .constants file.
"""

from headrace.ir.text.files import load_hir, save_hir
from headrace.ir.text.parser import parse_module, parse_type
from headrace.ir.text.printer import print_op

__all__ = ["load_hir", "parse_module", "parse_type", "print_op", "save_hir"]
