"""SQL: one module for each aggregate, a constant above each function, frozen rows. The only importer of asyncpg.

Verbs: `find` may return None, `get` raises, `claim`, `consume` and `spend` are one conditional statement whose row
count is the answer. READ COMMITTED throughout; time comes from the caller's clock.
"""
