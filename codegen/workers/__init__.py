"""Code generation in subprocesses that may die without taking the compiler along.

    with WorkerPool() as pool:
        objects = pool.run([Job("f", text, triple, cpu, features), ...])     # in job order

LLVM ends the process on what it cannot select; so it runs in children, one job at a time each, and a child that
dies or hangs costs one error.  llvmlite is imported in the children only.
"""

from headrace.codegen.workers.job import Host, Job
from headrace.codegen.workers.pool import WorkerPool, host, shared_pool

__all__ = ["Host", "Job", "WorkerPool", "host", "shared_pool"]
