"""Whatever comes in, the answer is a value or a refusal: seeded mutants of sound inputs, of any number.

`FUZZ_INPUTS=100000` (`make fuzz`) tries so many of each kind; the gate tries a few.
"""
