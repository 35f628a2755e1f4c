from pirt_stages.programs import evaluate

evaluate()
