"""`manage.py demo`: a property with its meters and tenants, the vendors in their box, and the main job played on it.

ground        which folder, which servers, which environment; before Django reads its settings
town          the processes
seed          the data
staff         who may look into the admin, and what differs
story         what is played
narration     each step with the time it took, for people or as JSON
performance   one run from the first process to the last
"""
