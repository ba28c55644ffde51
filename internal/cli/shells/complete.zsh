#compdef @kura
# Completion of @kura for zsh: to be sourced, or in a directory of $fpath as _@kura.

_kura() {
	local -a lines values pairs
	local line directive program last lead dash
	program=${(Q)words[1]}
	whence -p -- $program >/dev/null || program=@kura

	# After exec's -- comes a command line of its own.
	dash=${words[(ie)--]}
	if (( dash < CURRENT )); then
		words=("${(@)words[dash+1,-1]}")
		(( CURRENT -= dash ))
		_normal
		return
	fi

	# The shell itself chooses among all profiles, as matcher-list says.
	[[ $PREFIX != -* ]] || last=$PREFIX
	if [[ $PREFIX == -*=* ]]; then
		last=${PREFIX%%\=*}=
		compset -P '-*='
	fi
	lines=("${(@f)$(command $program __complete "${(@Q)words[2,CURRENT-1]}" "$last" 2>/dev/null)}")
	directive=${lines[-1]#:}
	lines=("${(@)lines[1,-2]}")
	values=("${(@)lines%%$'\t'*}")
	if [[ $lines[1] == *$'\t'* ]]; then
		for line in $lines; do
			pairs+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
		done
		_describe -V '@kura' pairs
	elif (( $#values )); then
		compadd -V @kura -a values
	elif (( ! (directive & 4) )); then
		_files
	fi
}

if [[ $funcstack[1] == _@kura || $funcstack[1] == _kura ]]; then
	_kura "$@"
else
	(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i; }
	compdef _kura @kura
	[[ ! ${commands[kura]} -ef ${commands[aws-vault]} ]] || compdef _kura kura aws-vault
fi
