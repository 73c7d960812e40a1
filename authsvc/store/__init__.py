"""SQL: a module or a package for each aggregate, a constant above each function. The only importer of asyncpg.

What is sealed, and what has ended, has a module for all tables. Verbs: `find` may return None, `get` raises, `claim`,
`consume` and `spend` are one conditional statement whose row count is the answer. READ COMMITTED throughout; time comes
from the caller's clock.
"""
