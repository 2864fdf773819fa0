"""The report: what a policy makes of labelled outcomes, as figures and one HTML page."""
