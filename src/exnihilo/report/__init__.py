"""Records → text, JSON, HTML. Imports records only, never torch.

``text`` and ``results_json`` need nothing but the core; ``charts`` and ``page`` need the extra ``lab``.
"""
