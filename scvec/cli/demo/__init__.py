"""The main job on 700 real cells, offline: see `scvec.cli.demo.run`."""
