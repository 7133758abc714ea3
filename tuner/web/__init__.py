"""The page of `tuner ui`: studies, trials and workers in a browser, behind a login."""
