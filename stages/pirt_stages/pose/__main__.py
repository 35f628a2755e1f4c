from pirt_stages.programs import pose

pose()
