"""The report of runs, live: a local web page that follows their files. Needs the extra `serve`.

    files of the runs -> LiveRun (reads what was added) -> app (JSON) -> page/*.js (asks every two seconds)

Nothing is read while no page is open, and a run does not know that it is watched.
"""
