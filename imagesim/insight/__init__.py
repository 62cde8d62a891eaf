"""What visitors look for, find and buy: recorded answers, daily figures and reports."""
