from pirt_stages.programs import search

search()
