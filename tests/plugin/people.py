"""Who runs pytest: commands behind which somebody has fewer rights."""

from __future__ import annotations

#: Behind it somebody has no right but to be root of a user namespace of his own.
ORDINARY = ["setpriv", "--bounding-set=-all,+setfcap", "--inh-caps=-all"]
#: Behind it he may not even have that.
CONFINED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
