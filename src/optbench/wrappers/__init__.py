"""What can be put around any optimizer (`wrap=`), one file each; a leaf room, reached by `_target_`."""
