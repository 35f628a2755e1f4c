"""What a notebook or another project needs, in few words; `import pirt` gives all of it. No stage is made of this."""
