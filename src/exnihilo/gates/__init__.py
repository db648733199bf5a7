"""Gates: parameters that a recipe adds to a model without touching its code, and folding them in again."""
