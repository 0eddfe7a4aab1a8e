"""Plans: what a job will do, worked out and checked before anything is started or written.

Configurations of the two jobs, presets and flags, and the checks that turn a configuration into a plan or into one clear
line about what the user has to mend. Nothing here starts Ray. Modules are imported one by one, so that a command that needs
only its flags does not wait for torch.
"""
