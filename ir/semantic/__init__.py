"""The semantic check: does the module compute after a pass what it computed before?

In: a module before and after each pass.  Out: nothing, or a SemanticError that names the pass, the function, the
output and the first element that differs.  Both sides run in the reference interpreters on the same random
inputs, seeded by the function's name.

    check = SemanticCheck()
    check.before(module, pass_);  run it;  check.after(module, pass_)
    print(check.summary())            checked 123 of 125 functions (98.4 %)
"""

from headrace.ir.semantic.check import SemanticCheck, Unchecked

__all__ = ["SemanticCheck", "Unchecked"]
