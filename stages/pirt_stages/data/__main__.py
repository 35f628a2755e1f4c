from pirt_stages.programs import data

data()
