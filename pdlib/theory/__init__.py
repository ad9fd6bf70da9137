"""What the paper's theory predicts and what is exact: section 3.2, appendix B and C.2.1 as plain functions."""
