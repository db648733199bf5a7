"""The article's claims, one file each; ``exnihilo.claims.catalog`` lists them all."""
