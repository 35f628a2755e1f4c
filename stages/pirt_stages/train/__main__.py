from pirt_stages.programs import train

train()
