"""Static figures: histograms, fronts, paths and funnels, in one style."""
