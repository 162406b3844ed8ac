"""From a shortlist to nudged elastic bands: inputs for the codes that compute them."""
