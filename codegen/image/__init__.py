"""The flattening linker.  In: ELF64 relocatable objects.  Out: one position-independent blob of code and constants.

`elf` reads an object, `flatten` lays sections out and collects the entries, `relocate` patches the bytes.
"""
