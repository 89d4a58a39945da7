"""Published tables and the sweeps that fill them.

``published`` reads the tables, which are data in ``tables/``. ``parts`` chooses the runs of a table or of a part of it,
``estimate`` says how long they take, and ``beside`` compares their results with the published figures, for ``page`` to
show.
"""
