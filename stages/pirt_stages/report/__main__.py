from pirt_stages.programs import report

report()
