"""
A synthetic, signed organization trail: serves the demo, the tests and the benchmarks.

``plan`` says how large the trail is and what is wrong with it, ``trail`` writes its objects, ``expected``
says what an export of them must find. The records come from ``mwaa`` (environments), ``oddities``
(forms that real trails have) and ``background`` (everybody else), told in the order of ``story``.
"""
