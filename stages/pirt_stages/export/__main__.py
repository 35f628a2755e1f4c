from pirt_stages.programs import export

export()
