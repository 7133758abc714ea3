"""Workers on a Ray cluster.

The machine of the search: `cluster_connection.py` connects (`cluster_address.py` says to what) and
has every node checked (`node_checks.py`); `ray_workers.py` is the back end, `remote_actor.py` its
end of the protocol, `cluster_watch.py` what becomes of the cluster. A node: `node_actor.py`, and
`node_data.py` for the files there.
"""
