"""Many runs: `sweeps` plans and starts them, `executors` runs them, `reports` compares their results, and
`interpretation` describes what their prompts have learned.

Imports only `evaluation` and `storage`, and works on files: a report needs neither PyTorch nor Dassl.
"""
