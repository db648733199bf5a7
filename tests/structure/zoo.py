"""The zoo: small odd models with hand-written truth about what they are made of."""

import zoo_attention  # noqa: F401  # each file puts its models into the zoo
import zoo_experts  # noqa: F401
import zoo_forms  # noqa: F401
import zoo_found  # noqa: F401
import zoo_images  # noqa: F401
import zoo_merges  # noqa: F401
import zoo_positions  # noqa: F401
import zoo_sums  # noqa: F401
from specimen import SPECIMENS

ZOO = tuple(SPECIMENS)
