# The member's image where an image of etcd itself is to be tested: that one, as it is.
ARG ETCD_IMAGE
FROM $ETCD_IMAGE
