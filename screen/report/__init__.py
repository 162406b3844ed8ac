"""``screen report``: a campaign as one HTML page that needs nothing else.

Queries give plain data (``contents``, ``details``), figures are made of these (``barrier_figures``,
``check_figures``, ``campaign_figures``), and the page puts them together (``page``).
"""
