"""Many runs: `sweeps` plans and starts them, `executors` runs them, `reports` compares their results, and
`interpretation` writes down what prompts hold.

Imports `evaluation` and `storage` alone, and works on files: a report needs neither PyTorch nor Dassl.
"""
