# A word with a quote that is not closed is taken as it stands, and closed.
__postern_open() {
    local rest=${cur:1}
    case $cur in
    \"*) rest=${rest//\\?/} ;;
    \'*) ;;
    *) return ;;
    esac
    [[ $rest == *"${cur:0:1}"* ]] && return
    open=${cur:0:1} cur=${cur:1} rest=$cur
    if [[ $open == \" ]]; then
        rest=${rest//\\\\/$'\n'} rest=${rest//\\\"/\"} rest=${rest//\\\$/\$} rest=${rest//\\\`/\`} rest=${rest//$'\n'/\\}
    fi
    args=("${args[@]:0:${#args[@]}-1}" "${lastParam%"$open$cur"}$(printf %q "$rest")")
    requestComp="${words[0]} __complete ${args[*]}"
}

# __postern_quoted sets REPLY to a name as it stands at the prompt.
__postern_quoted() {
    REPLY=$1
    case $open in
    \") REPLY=${REPLY//\\/\\\\} REPLY=${REPLY//\"/\\\"} REPLY=${REPLY//\$/\\\$} REPLY=${REPLY//\`/\\\`} ;;
    \') REPLY=${REPLY//\'/\'\\\'\'} ;;
    ?*) ;;
    *) printf -v REPLY %q "$1" ;;
    esac
}

# __postern_several puts in what several names have in common. Where that is not
# what was typed, a name that has nothing in common with others makes readline
# leave the word alone.
__postern_several() {
    local common=${COMPREPLY[0]} one nocase=-u
    for one in "${COMPREPLY[@]}"; do
        while [[ ${one:0:${#common}} != "$common" ]]; do common=${common%?}; done
    done
    [[ -n $common ]] && __postern_quoted "$common" && common=$REPLY
    shopt -q nocasematch && nocase=-s
    shopt -s nocasematch
    if (( ${#COMPREPLY[@]} > 1 && ${#common} > ${#cur} )) && [[ ${common:0:${#cur}} == "$cur" ]]; then
        COMPREPLY=("$common")
        [[ $(type -t compopt) == builtin ]] && compopt -o nospace
    elif (( ${#COMPREPLY[@]} > 1 )); then
        COMPREPLY+=(" ")
    fi
    shopt $nocase nocasematch
}

# __postern_unbroken takes off what the shell has taken as words of their own.
__postern_unbroken() {
    local breaks='' c word
    [[ -n $open ]] && return
    for c in : = @; do [[ $COMP_WORDBREAKS == *$c* ]] && breaks+=$c; done
    [[ -n $breaks && $cur == *[$breaks]* ]] || return
    word=${cur%"${cur##*[$breaks]}"}
    local nocase=-u i
    shopt -q nocasematch && nocase=-s
    shopt -s nocasematch
    for i in ${!COMPREPLY[*]}; do
        [[ ${COMPREPLY[i]:0:${#word}} == "$word" ]] && COMPREPLY[i]=${COMPREPLY[i]:${#word}}
    done
    shopt $nocase nocasematch
}

