"""The programs on the command line: ``chimeramix`` itself and its subcommands ``sweep`` and ``summarize``.

``program`` chooses the subcommand. Each has a module with its flags and help: ``run``, ``sweep`` and ``summarize``.
``actions`` does what ``--stage`` names, ``flags`` parses, ``help`` lays out the help text, and ``exits`` turns errors
into one line and an exit code. Parsing never imports JAX, so that a mistake is answered at once.
"""
